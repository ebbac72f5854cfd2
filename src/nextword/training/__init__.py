"""Training: one loop for pretraining, continued pretraining and fine-tuning; needs torch, never the inference room."""
