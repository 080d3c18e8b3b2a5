"""``ros2-derain bench``: how fast the engine is on this machine, and what ROS 2 adds."""
