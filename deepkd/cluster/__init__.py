"""Many clips: shards of the inputs, a part of the verdicts for each, and the parts as one report.

Never imports torch.
"""
