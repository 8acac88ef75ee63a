"""Asks a Prometheus that scrapes a daemon everything that the alert rules and the dashboard ask.

usage: queries.py ADDRESS SHARE MONITORING
SHARE: the daemon's directory, with configurations/ and root/; MONITORING: alerts.yaml and dashboard.json.
"""

import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

ADDRESS, SHARE, MONITORING = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
PATIENCE = 60


def query(expression):
    """The series that an expression gives; an expression that is wrong ends the program with what Prometheus says."""
    text = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}/api/v1/query?{text}", timeout=PATIENCE) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{expression}: {error.read().decode()}")


def wait_for(expression, expected):
    since = time.monotonic()
    while time.monotonic() - since < PATIENCE:
        found = query(expression)
        if [one["value"][1] for one in found] == [expected]:
            return
        time.sleep(0.2)
    sys.exit(f"{expression} was never {expected}: {found}")


def expressions():
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            yield f"dashboard, {panel['title']}", text
    # One line each: no YAML is needed to find them.
    rules = re.findall(r"alert: (\w+)\n +expr: (.*)\n", (MONITORING / "alerts.yaml").read_text())
    if not rules:
        sys.exit("no rules were found")
    for name, text in rules:
        yield f"alert {name}", text


wait_for('appconfigd_health{state="healthy"}', "1")
asked = 0
for where, text in expressions():
    query(text)
    for metric in set(re.findall(r"appconfigd_[a-z_]+", text)):
        # What happens seldom has no series before it has happened.
        if metric not in ("appconfigd_drifts_total",) and not query(metric):
            sys.exit(f"{where}: {metric} is no metric of the daemon")
    asked += 1

(SHARE / "root/etc/limits.json").write_text("drifted")
wait_for("sum(appconfigd_drifts_total) > bool 0", "1")
new = SHARE / "configurations/shop/prod/new"
new.write_text("[1")
new.rename(SHARE / "configurations/shop/prod/limits.json")
wait_for('appconfigd_profile_state{state="refused"}', "1")
wait_for('count(ALERTS{alertname="AppconfigdVersionTurnedDown", profile="limits"})', "1")
print(f"test result: ok. {asked} passed; 0 failed; 0 ignored")
