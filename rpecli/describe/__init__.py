"""What an encoding is and does, untrained: facts from its source, its bias as a figure or as text."""
