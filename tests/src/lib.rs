//! Black-box tests, the demo and the benchmarks of the built programs.
