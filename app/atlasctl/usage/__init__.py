"""`atlasctl usage`: what of Oracle Cloud's Always Free is used, before it costs."""
