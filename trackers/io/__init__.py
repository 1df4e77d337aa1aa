"""Files of images, of video, and of tracks."""
