"""``ros2-derain replay``: a bag through the engine, what came out, and whether it is good enough."""
