from preferences.api.views import PreferenceCollection

collections = {"preferences": PreferenceCollection}
