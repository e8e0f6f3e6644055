"""The loop: config, batching, cohort, recorder, evaluation, resume. It ties the rooms below together.

`api` is the way in; importing `training.config` alone needs no torch.
"""
