"""What the operator says about itself: logs, metrics, traces, health. Never code or output."""
