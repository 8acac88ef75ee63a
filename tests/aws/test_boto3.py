"""boto3, unmodified, against `appconfigd serve`."""

import concurrent.futures
import hashlib
import os
import unittest

import botocore.exceptions

from harness import Case, Server


class Sessions(Case):
    def test_a_session_goes_from_start_to_unchanged_to_changed(self):
        token = self.start()
        answer, body = self.get(token)
        self.assertEqual(body, b'{"limit": 1}')
        self.assertEqual(answer["NextPollIntervalInSeconds"], 60)
        self.assertEqual(answer["ContentType"], "application/json")
        self.assertNotEqual(answer["NextPollConfigurationToken"], token)
        self.server.advance(60)
        unchanged, body = self.get(answer["NextPollConfigurationToken"])
        self.assertEqual(body, b"")
        self.assertFalse(unchanged.get("VersionLabel"))
        self.server.write("shop/prod/limits.json", '{"limit": 2}')
        self.server.advance(60)
        changed, body = self.get(unchanged["NextPollConfigurationToken"])
        self.assertEqual(body, b'{"limit": 2}')
        self.server.advance(60)
        self.assertEqual(self.get(changed["NextPollConfigurationToken"])[1], b"")

    def test_tokens_need_percent_encoding_and_have_the_services_size(self):
        for _ in range(20):
            token = self.start()
            self.assertTrue(token.startswith("AYADe"))
            self.assertTrue(set("+/=") <= set(token))
            self.assertTrue(750 <= len(token) <= 1200)
            self.assertEqual(self.get(token)[1], b'{"limit": 1}')

    def test_a_declared_interval_is_answered_and_enforced(self):
        answer, _ = self.get(self.start(RequiredMinimumPollIntervalInSeconds=15))
        self.assertEqual(answer["NextPollIntervalInSeconds"], 15)
        token = answer["NextPollConfigurationToken"]
        self.server.advance(10)
        self.assertEqual(self.problem(token), "PollIntervalNotSatisfied")
        self.server.advance(5)
        self.get(token)

    def test_an_interval_above_86400_is_refused_without_details(self):
        error = self.refused(lambda: self.start(RequiredMinimumPollIntervalInSeconds=86_401))
        self.assertEqual(error["Error"]["Code"], "BadRequestException")
        self.assertEqual(error["Reason"], "InvalidParameters")
        self.assertNotIn("Details", error)
        with self.assertRaises(botocore.exceptions.ParamValidationError):
            self.start(RequiredMinimumPollIntervalInSeconds=14)


class Tokens(Case):
    def test_a_used_up_token_is_refused(self):
        token = self.start()
        self.get(token)
        self.server.advance(60)
        self.assertEqual(self.problem(token), "Corrupted")
        error = self.refused(lambda: self.get(token))
        self.assertEqual(error["Error"]["Message"], "Token not valid")

    def test_a_forged_token_is_refused(self):
        token = self.start()
        for forged in ["x", token[:-3] + "x==", token + "A", token.lower()]:
            self.assertEqual(self.problem(forged), "Corrupted")
        self.get(token)

    def test_an_expired_token_is_refused_as_expired(self):
        token = self.start()
        self.server.advance(24 * 60 * 60 + 1)
        self.assertEqual(self.problem(token), "Expired")

    def test_an_early_poll_does_not_spend_the_token(self):
        token = self.get(self.start())[0]["NextPollConfigurationToken"]
        self.assertEqual(self.problem(token), "PollIntervalNotSatisfied")
        error = self.refused(lambda: self.get(token))
        self.assertEqual(error["Error"]["Message"], "Request too early")
        self.server.advance(60)
        self.get(token)


class AcceptedReuse(Case):
    arguments = ("--token-reuse", "accept")

    def test_a_used_token_brings_the_configuration_again(self):
        token = self.start()
        self.assertEqual(self.get(token)[1], self.get(token)[1])


class Resources(Case):
    def test_each_missing_resource_is_named(self):
        cases = [
            ({"application": "none"}, "Application", {"ApplicationIdentifier": "none"}),
            ({"environment": "none"}, "Environment", {"EnvironmentIdentifier": "none"}),
            ({"profile": "none"}, "ConfigurationProfile", {"ConfigurationProfileIdentifier": "none"}),
        ]
        for names, resource, referenced_by in cases:
            error = self.refused(lambda names=names: self.start(**names))
            self.assertEqual(error["Error"]["Code"], "ResourceNotFoundException")
            self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 404)
            self.assertEqual(error["ResourceType"], resource)
            self.assertEqual(error["ReferencedBy"], referenced_by)

    def test_a_configuration_that_goes_away_is_named(self):
        token = self.start()
        (self.server.directory / "shop/prod/limits.json").unlink()
        error = self.refused(lambda: self.get(token))
        self.assertEqual(error["ResourceType"], "Configuration")
        self.server.write("shop/prod/limits.json", "back")
        self.assertEqual(self.get(token)[1], b"back")

    def test_names_that_no_file_can_have_are_percent_encoded(self):
        self.server.write("my%2Fapp/50%25/a%2Eb.txt", "found")
        self.assertEqual(self.get(self.start("my/app", "50%", "a.b"))[1], b"found")


class Content(Case):
    def test_labels_and_content_types_travel(self):
        self.server.write("shop/prod/nginx.conf", "worker_processes 1;\n")
        self.server.write("shop/prod/nginx.conf.meta.yaml", "content_type: text/x-nginx; charset=utf-8\nversion_label: v1.2-rc\n")
        token = self.start(profile="nginx")
        answer, _ = self.get(token)
        self.assertEqual(answer["ContentType"], "text/x-nginx; charset=utf-8")
        self.assertEqual(answer["VersionLabel"], "v1.2-rc")
        self.server.write("shop/prod/nginx.conf.meta.yaml", "version_label: v1.3\n")
        self.server.advance(60)
        answer, body = self.get(answer["NextPollConfigurationToken"])
        self.assertEqual(body, b"worker_processes 1;\n", "a new label is a deployment")
        self.assertEqual((answer["VersionLabel"], answer["ContentType"]), ("v1.3", "application/octet-stream"))

    def test_the_content_type_follows_the_extension(self):
        expected = {
            "a.json": "application/json",
            "b.yaml": "application/x-yaml",
            "c.yml": "application/x-yaml",
            "d.toml": "application/toml",
            "e.txt": "text/plain",
            "f.bin": "application/octet-stream",
            "g": "application/octet-stream",
        }
        for name, content_type in expected.items():
            self.server.write(f"shop/types/{name}", "x")
            answer, _ = self.get(self.start(environment="types", profile=name[0]))
            self.assertEqual(answer["ContentType"], content_type, name)

    def test_4000_kb_arrive_bit_exact(self):
        content = os.urandom(4_000 * 1_024)
        self.server.write("shop/prod/big.bin", content)
        _, body = self.get(self.start(profile="big"))
        self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(content).digest())

    def test_every_byte_arrives(self):
        content = bytes(range(256)) * 3 + b"\r\n\r\n0\r\n\r\n"
        self.server.write("shop/prod/bytes.bin", content)
        self.assertEqual(self.get(self.start(profile="bytes"))[1], content)


class Faults(Case):
    def test_throttling_and_internal_errors_are_the_models_and_spend_nothing(self):
        token = self.start()
        self.server.faults({"kind": "throttle", "count": 1})
        with self.assertRaises(self.client.exceptions.ThrottlingException):
            self.get(token)
        self.server.faults({"kind": "internal_error", "count": 1})
        with self.assertRaises(self.client.exceptions.InternalServerException):
            self.get(token)
        self.get(token)

    def test_an_sdks_own_retry_gets_through_a_fault_that_spends_nothing(self):
        token = self.start()
        self.client = self.server.client(retries={"total_max_attempts": 3, "mode": "standard"})
        for kind in ["throttle", "drop_before"]:
            self.server.faults({"kind": kind, "operation": "get", "count": 1})
            answer, _ = self.get(token)
            token = answer["NextPollConfigurationToken"]
            self.server.advance(60)

    def test_an_sdks_own_retry_after_a_lost_answer_meets_a_used_up_token(self):
        token = self.start()
        self.client = self.server.client(retries={"total_max_attempts": 3, "mode": "standard"})
        self.server.faults({"kind": "drop_after", "operation": "get", "count": 1})
        self.assertEqual(self.problem(token), "Corrupted")
        self.assertEqual(self.server.counts("shop/prod/limits")["get"], 2)

    def test_a_dropped_and_a_truncated_answer_are_errors_of_the_connection(self):
        self.server.faults({"kind": "drop_after", "operation": "get", "count": 1})
        with self.assertRaises(botocore.exceptions.ConnectionClosedError):
            self.get(self.start())
        self.server.faults({"kind": "truncate", "operation": "get", "count": 1, "bytes": 5})
        with self.assertRaises((botocore.exceptions.IncompleteReadError, botocore.exceptions.ResponseStreamingError)):
            self.get(self.start())

    def test_a_delay_longer_than_the_read_timeout_is_a_timeout(self):
        token = self.start()
        self.client = self.server.client(read_timeout=0.2)
        self.server.faults({"kind": "delay", "operation": "get", "delay_ms": 5_000, "count": 1})
        with self.assertRaises(botocore.exceptions.ReadTimeoutError):
            self.get(token)
        self.get(token)


class Crowd(unittest.TestCase):
    def test_50_clients_at_once_each_get_every_version_once(self):
        server = Server()
        server.write("shop/prod/limits.json", "version 0")
        server.start()
        self.addCleanup(server.stop)
        client = server.client(max_pool_connections=50)

        def open_session(_):
            answer = client.start_configuration_session(
                ApplicationIdentifier="shop",
                EnvironmentIdentifier="prod",
                ConfigurationProfileIdentifier="limits",
            )
            return answer["InitialConfigurationToken"]

        def poll(token):
            answer = client.get_latest_configuration(ConfigurationToken=token)
            return answer["NextPollConfigurationToken"], answer["Configuration"].read()

        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            tokens = list(pool.map(open_session, range(50)))
            self.assertEqual(len(set(tokens)), 50)
            for version in range(3):
                server.write("shop/prod/limits.json", f"version {version}")
                for expected in [f"version {version}".encode(), b""]:
                    answers = list(pool.map(poll, tokens))
                    tokens = [token for token, _ in answers]
                    self.assertEqual({body for _, body in answers}, {expected})
                    server.advance(60)
        counts = server.counts("shop/prod/limits")
        self.assertEqual(counts, {"start": 50, "get": 300, "received": 150, "early": 0, "rejected": 0})


if __name__ == "__main__":
    unittest.main()
