//! The benchmarks. Each runs a peer or a floor beside ours, in the same run, and gives a row with the ratio.
