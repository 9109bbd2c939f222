from services.api.views import ModuleCollection, ServiceCollection

collections = {"modules": ModuleCollection, "services": ServiceCollection}
