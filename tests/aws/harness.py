"""Starts `appconfigd serve` and points unmodified AWS clients at it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

import boto3
import botocore.config

PROGRAM = os.environ["APPCONFIGD"]
AWS = str(Path(sys.executable).with_name("aws"))

# nothing of the machine's own AWS settings may reach a test
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_SESSION_TOKEN": "not-a-token",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_PAGER": "",
    "NO_PROXY": "*",
    "no_proxy": "*",
}
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(ENVIRONMENT)


class Server:
    """A served directory of its own; put files in with `write`."""

    def __init__(self, *arguments):
        self.directory = Path(tempfile.mkdtemp(prefix="appconfigd-aws-"))
        self.arguments = arguments
        self.process = None
        self.endpoint = None

    def write(self, path, content):
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def start(self):
        command = [PROGRAM, "serve", "--directory", str(self.directory), "--controls", *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline().decode()
        prefix = "listening on "
        assert line.startswith(prefix), line
        self.endpoint = line[len(prefix):].strip()
        return self

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=20)
        self.process.stdout.close()
        shutil.rmtree(self.directory)
        assert code == 0, code

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_local/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def advance(self, seconds):
        self.control("PUT", "clock", {"advance_seconds": seconds})

    def faults(self, *faults):
        self.control("PUT", "faults", {"faults": list(faults)})

    def counts(self, profile):
        return self.control("GET", "calls")["profiles"][profile]

    def client(self, **config):
        config.setdefault("retries", {"total_max_attempts": 1, "mode": "standard"})
        config.setdefault("read_timeout", 20)
        return boto3.client(
            "appconfigdata", endpoint_url=self.endpoint, config=botocore.config.Config(**config)
        )

    def cli(self, *arguments):
        """Runs `aws appconfigdata …`; the endpoint travels by the variable that operators use."""
        environment = dict(os.environ, AWS_ENDPOINT_URL_APPCONFIGDATA=self.endpoint)
        command = [AWS, "appconfigdata", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


class Case(unittest.TestCase):
    """A server a test, with `shop/prod/limits.json`."""

    arguments = ()

    def setUp(self):
        self.server = Server(*self.arguments)
        self.server.write("shop/prod/limits.json", '{"limit": 1}')
        self.server.start()
        self.addCleanup(self.server.stop)
        self.client = self.server.client()

    def start(self, application="shop", environment="prod", profile="limits", **more):
        answer = self.client.start_configuration_session(
            ApplicationIdentifier=application,
            EnvironmentIdentifier=environment,
            ConfigurationProfileIdentifier=profile,
            **more,
        )
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 201)
        return answer["InitialConfigurationToken"]

    def get(self, token):
        answer = self.client.get_latest_configuration(ConfigurationToken=token)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 200)
        return answer, answer["Configuration"].read()

    def refused(self, call):
        """The parsed error of a call that must fail."""
        with self.assertRaises(self.client.exceptions.ClientError) as caught:
            call()
        return caught.exception.response

    def problem(self, token):
        error = self.refused(lambda: self.get(token))
        self.assertEqual(error["Error"]["Code"], "BadRequestException")
        self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertEqual(error["Reason"], "InvalidParameters")
        return error["Details"]["InvalidParameters"]["ConfigurationToken"]["Problem"]
