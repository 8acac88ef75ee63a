# What an instance may: read this configuration, and report.

resource "aws_iam_role" "host" {
  name = "${var.application}-${var.environment}-host"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "read" {
  name = "read-the-configuration"
  role = aws_iam_role.host.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "appconfig:StartConfigurationSession",
        "appconfig:GetLatestConfiguration",
      ]
      Resource = "${aws_appconfig_environment.this.arn}/configuration/${aws_appconfig_configuration_profile.this.configuration_profile_id}"
    }]
  })
}

resource "aws_iam_role_policy" "report" {
  name = "report"
  role = aws_iam_role.host.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.hosts.arn}:*"
    }]
  })
}

resource "aws_iam_instance_profile" "host" {
  name = "${var.application}-${var.environment}-host"
  role = aws_iam_role.host.name
}

output "instance_profile" {
  description = "For instances whose user data is cloud-init.yaml."
  value       = aws_iam_instance_profile.host.name
}
