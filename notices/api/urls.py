from notices.api.views import ChannelCollection, DeliveryCollection, NoticeCollection

collections = {
    "notice-channels": ChannelCollection,
    "notices": NoticeCollection,
    "notice-deliveries": DeliveryCollection,
}
