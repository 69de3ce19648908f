"""Where items come from: feeds, and later podcasts, mail, files and imports."""
