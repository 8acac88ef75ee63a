"""The AWS CLI, unmodified, against `appconfigd serve`."""

import json
import unittest

from harness import Case


class Cli(Case):
    def begin(self, profile="limits", *more):
        answer = self.server.cli(
            "start-configuration-session",
            "--application-identifier", "shop",
            "--environment-identifier", "prod",
            "--configuration-profile-identifier", profile,
            "--query", "InitialConfigurationToken",
            "--output", "text",
            *more,
        )
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return answer.stdout.decode().strip()

    def latest(self, token):
        out = self.server.directory / ".out"
        answer = self.server.cli("get-latest-configuration", "--configuration-token", token, str(out))
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return json.loads(answer.stdout), out.read_bytes()

    def refusal(self, *arguments):
        answer = self.server.cli(*arguments)
        self.assertNotEqual(answer.returncode, 0)
        return answer.stderr.decode()

    def refused_token(self, token):
        out = str(self.server.directory / ".refused")
        return self.refusal("get-latest-configuration", "--configuration-token", token, out)

    def test_the_cli_polls_a_session(self):
        self.server.write("shop/prod/limits.json.meta.yaml", "version_label: v1\n")
        meta, body = self.latest(self.begin("limits", "--required-minimum-poll-interval-in-seconds", "15"))
        self.assertEqual(body, b'{"limit": 1}')
        self.assertEqual(meta["NextPollIntervalInSeconds"], 15)
        self.assertEqual((meta["ContentType"], meta["VersionLabel"]), ("application/json", "v1"))
        self.assertIn("BadRequestException", self.refused_token(meta["NextPollConfigurationToken"]))
        self.server.advance(15)
        meta, body = self.latest(meta["NextPollConfigurationToken"])
        self.assertEqual(body, b"")
        self.server.write("shop/prod/limits.json", '{"limit": 2}')
        self.server.advance(15)
        self.assertEqual(self.latest(meta["NextPollConfigurationToken"])[1], b'{"limit": 2}')

    def test_the_cli_shows_the_services_messages(self):
        token = self.begin()
        self.latest(token)
        text = self.refused_token(token)
        self.assertIn("BadRequestException", text)
        self.assertIn("Token not valid", text)
        text = self.refusal(
            "start-configuration-session",
            "--application-identifier", "none",
            "--environment-identifier", "prod",
            "--configuration-profile-identifier", "limits",
        )
        self.assertIn("ResourceNotFoundException", text)
        self.assertIn("Application not found", text)

    def test_the_cli_gets_4000_kb(self):
        content = bytes(range(256)) * (4_000 * 4)
        self.server.write("shop/prod/big.bin", content)
        self.assertEqual(self.latest(self.begin("big"))[1], content)


if __name__ == "__main__":
    unittest.main()
