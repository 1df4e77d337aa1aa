"""Backbones beside the plain ViT. swin.py and pvt.py have the Encoder's methods for SimTrack; resnet.py is iKUN's."""
