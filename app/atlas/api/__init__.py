"""The HTTP face of Atlas: JSON for programs. The pages for people are in `atlas.web`."""
