"""No error and no log shows a credential: the shapes of the services that runs meet."""

import urllib.parse

import pytest

from east_core.store.redaction import redact

BODY = "q7Xk2Lm9Pz4Vb8Nc1Rt6Wy3Hd5Jf0Gs"


@pytest.mark.parametrize(
    ("service", "text", "secret"),
    [
        ("AWS key id", "key AKIAIOSFODNN7EXAMPLE denied", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS presigned", f"GET https://b/x?X-Amz-Signature={BODY}&y=1", BODY),
        ("Azure SAS", f"https://a.blob.core.windows.net/c?sv=2024&sig={BODY}%3D&se=1", BODY),
        ("Azure key", f"DefaultEndpointsProtocol=https;AccountKey={BODY}==;x=1", BODY),
        ("Azure AD", f"token eyJhbGciOiJIUzI1NiJ9.{BODY}.{BODY} refused", BODY),
        ("GCS token", f"Authorization: Bearer ya29.{BODY}", BODY),
        ("GCS signed", f"https://storage.googleapis.com/b/x?X-Goog-Signature={BODY}", BODY),
        ("Google key", f"key AIza{BODY}1234 invalid", BODY),
        ("Hugging Face", f"401 for hf_{BODY}", BODY),
        ("W&B", f"wandb_api_key={BODY}12345678", BODY),
        ("GitHub", f"https://ghp_{BODY}1234@github.com/x", BODY),
        ("Slack", "hook xoxb-1234567890-abcdefghij", "abcdefghij"),
        ("OpenAI", f"sk-proj-{BODY} expired", BODY),
        ("Prefect", f"header pnu_{BODY}", BODY),
        ("SFTP", "sftp://user:hunter2hunter2@host/x", "hunter2"),
        ("a slash in the password", "s3://user:p/wwwww@b is refused", "wwwww"),
        ("a chain", "simplecache::s3://user:passpass@b/x", "passpass"),
        (
            "a key file",
            f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----",
            BODY,
        ),
    ],
    ids=lambda value: value if len(value) < 25 else "",
)
def test_what_looks_like_a_credential_is_hidden(service: str, text: str, secret: str) -> None:
    assert secret not in redact(text), service


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
     "HF_TOKEN", "WANDB_API_KEY", "PREFECT_API_KEY", "MY_DB_PASSWORD", "SLACK_WEBHOOK_SECRET"],
)  # fmt: skip
def test_secrets_of_the_environment_are_hidden_however_they_are_spelt(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "p/a+s=s w&rd-0123456789"
    monkeypatch.setenv(name, secret)
    for spelt in (secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)):
        assert redact(f"before {spelt} after") == "before *** after"


@pytest.mark.parametrize(
    "text",
    [
        "abfs://container@account.dfs.core.windows.net/runs: no such container",
        "sftp://user@host:22/srv/a@b.json is missing",
        "commit 0123456789abcdef0123456789abcdef01234567, SHA-256 9f86d081884c",
        "the key of questions.jsonl is 'answer'; raise sampling.max_tokens",
        "task-force sk-learn tokenizer.json s3://bucket/a@b:c",
    ],
)
def test_plain_text_stays(text: str) -> None:
    assert redact(text) == text
