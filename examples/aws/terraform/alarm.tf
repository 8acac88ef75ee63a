# What hosts report: appconfigd_profile_state is 1 while a host has refused or quarantined the newest version. The agent
# of CloudWatch brings it here (cloud-init.yaml), once a minute.

resource "aws_cloudwatch_log_group" "hosts" {
  name              = "/appconfigd/hosts"
  retention_in_days = 14
}

resource "aws_cloudwatch_metric_alarm" "turned_down" {
  alarm_name          = "${var.application}-${var.environment}-${var.profile}-turned-down"
  alarm_description   = "At least one host has turned the newest version down: `appconfigd status` there says why."
  namespace           = "appconfigd"
  metric_name         = "appconfigd_profile_state"
  dimensions          = { profile = var.profile }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 1
  # No host, no complaint.
  treat_missing_data = "notBreaching"
}

# By which AppConfig looks at the alarm.
resource "aws_iam_role" "monitor" {
  name = "${var.application}-${var.environment}-appconfig-monitor"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "appconfig.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "monitor" {
  name = "look-at-alarms"
  role = aws_iam_role.monitor.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "cloudwatch:DescribeAlarms"
      Resource = "*"
    }]
  })
}
