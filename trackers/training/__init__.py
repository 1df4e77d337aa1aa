"""What a training run is made of; train.py puts it together."""
