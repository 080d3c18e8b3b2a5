"""rosbag2 bags: read with what can go wrong in them, written, told about, made of pictures."""
