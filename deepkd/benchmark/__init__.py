"""Timing and weighing models: latency, throughput, memory, size, AUC."""
