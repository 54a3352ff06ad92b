"""What a trained model does inside: whether moving the content matters, and where and why its heads look."""
