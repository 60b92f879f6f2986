"""Tell a webhook (Slack, Teams, your own) when a champion changes or a run crashes.

    PREFECT_API_URL=http://127.0.0.1:4200/api python examples/notify_on_promotion.py URL

Run it once against a server; the automations then show in the UI, where they can be paused.
"""

import sys

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture

BLOCK = "east-webhook"
# What to tell, and which events tell it; docs/using-the-ui.md lists the events.
RULES = {
    "Tell when a champion changes": {"east.checkpoint.promoted", "east.checkpoint.rolled-back"},
    "Tell when a run fails": {"prefect.flow-run.Crashed", "prefect.flow-run.Failed"},
}


def install(url: str) -> None:
    """Create the webhook's block and the automations, renewing those of an earlier call."""
    webhook = CustomWebhookNotificationBlock(
        name=BLOCK, url=url, json_data={"text": "{{subject}}: {{body}}"}
    )
    document = webhook.save(BLOCK, overwrite=True)
    for name, events in RULES.items():
        trigger = EventTrigger(expect=events, posture=Posture.Reactive, threshold=1)
        tell = SendNotification(
            block_document_id=document,
            subject="{{ event.event }}",
            body="{{ event.resource.name }}: {{ event.payload }}",
        )
        Automation(name=name, trigger=trigger, actions=[tell]).create()


if __name__ == "__main__":
    install(sys.argv[1])
