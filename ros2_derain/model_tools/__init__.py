"""``ros2-derain models``: what is installed, sizes, checkpoints from elsewhere."""
