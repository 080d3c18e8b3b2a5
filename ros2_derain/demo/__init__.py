"""``ros2-derain demo``: the whole pipeline on a real clip in rendered rain, measured."""
