"""The other people in the play, as machines: for the world, the demo, the benchmarks and the tests."""
