"""``ros2-derain evaluate``: a model scored on folders of images."""
