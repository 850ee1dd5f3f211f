"""Rows of images: reading folders, archives and arrays, checking what they hold, and telling images apart."""
