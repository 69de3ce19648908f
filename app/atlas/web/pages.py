"""Pages that came later than the others."""

from atlas.web import failed, imports, people

ROUTERS = (failed.router, imports.router, people.router)
