from servers.api.views import ServerCollection

collections = {"servers": ServerCollection}
