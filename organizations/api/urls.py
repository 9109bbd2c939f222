from organizations.api.views import OrganizationCollection

collections = {"organizations": OrganizationCollection}
