"""Rain on image files, folders, videos and bags: ``ros2-derain rain``."""
