"""One module for each layout of image-caption data; each yields its images in a fixed order, or says what is wrong."""
