"""Notifications: automations that tell people of promotions, failures and questions to them.

The block is Prefect's own for Slack. It hands every other address to Apprise, so e-mail and plain
webhooks go the same way, and any Prefect server can send them without code of ours.
"""

from typing import TYPE_CHECKING

from east_core.errors import ConfigError
from flows.server.connection import require_server

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

BLOCK = "east-notifications"
# What to tell, and which events tell it; docs/using-the-ui.md lists the events.
RULES = {
    "Tell when a champion changes": {"east.checkpoint.promoted", "east.checkpoint.rolled-back"},
    "Tell when a run fails": {"prefect.flow-run.Crashed", "prefect.flow-run.Failed"},
    "Tell when a run waits for a person": {"prefect.flow-run.Paused"},
}


def notify(address: str) -> list[str]:
    """Send notifications to an address from now on; return the names of the automations.

    What is there is renewed, and not doubled. Raises ConfigError for an address that Apprise does
    not know, and as `require_server` does.
    """
    require_address(address)
    require_server()
    from prefect.blocks.notifications import SlackWebhook
    from prefect.client.orchestration import get_client

    block = SlackWebhook(url=address)
    block.register_type_and_schema()
    document = block.save(BLOCK, overwrite=True)
    with get_client(sync_client=True) as client:
        for name, events in RULES.items():
            if not client.read_automations_by_name(name):
                _create(client, name, events, str(document))
    return list(RULES)


def require_address(address: str) -> None:
    """Raises ConfigError where nothing can be sent to an address; it is not repeated in full."""
    from apprise import Apprise

    if not Apprise.instantiate(address):
        kind = address.split("://")[0] if "://" in address else "no scheme"
        raise ConfigError(
            f"the address ({kind}) is none that notifications can be sent to; give "
            "https://hooks.slack.com/services/..., mailtos://USER:PASSWORD@HOST?to=..., "
            "json://HOST/PATH, or another address of Apprise's"
        )


def _create(client: "SyncPrefectClient", name: str, events: set[str], document: str) -> None:
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    tell = SendNotification(
        block_document_id=document,
        subject="{{ event.event }}",
        body="{{ event.resource.name }}: {{ event.payload }}",
    )
    trigger = EventTrigger(expect=events, posture=Posture.Reactive, threshold=1)
    client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[tell]))
