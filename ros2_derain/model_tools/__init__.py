"""``ros2-derain models``: installed models, sizes of networks, import of checkpoints."""
