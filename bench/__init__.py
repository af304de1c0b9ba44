"""How fast and how small we are, as ratios to what people use today, measured side by side in one run."""
