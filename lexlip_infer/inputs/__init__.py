"""Where items come from: folders of images, caption files, and how both become arrays."""
