"""What tests, demo, bench and drill share: camera, player, probe, recorder, observer."""
