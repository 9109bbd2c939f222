from servers.api.views import ServerCollection, StatusTransitionRecords

collections = {"servers": ServerCollection, "status-transitions": StatusTransitionRecords}
