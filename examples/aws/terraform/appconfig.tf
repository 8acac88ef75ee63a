# What AppConfig holds, and how a version travels.

resource "aws_appconfig_application" "this" {
  name = var.application
}

resource "aws_appconfig_environment" "this" {
  application_id = aws_appconfig_application.this.id
  name           = var.environment

  # While a deployment runs and bakes: when this alarm goes off, AppConfig delivers the version before.
  monitor {
    alarm_arn      = aws_cloudwatch_metric_alarm.turned_down.arn
    alarm_role_arn = aws_iam_role.monitor.arn
  }
}

resource "aws_appconfig_configuration_profile" "this" {
  application_id = aws_appconfig_application.this.id
  name           = var.profile
  location_uri   = "hosted"

  # Before any host sees a version. What only a host can know is for `check` and `probe` of its settings.
  validator {
    type    = "JSON_SCHEMA"
    content = var.schema
  }
}

resource "aws_appconfig_hosted_configuration_version" "this" {
  application_id           = aws_appconfig_application.this.id
  configuration_profile_id = aws_appconfig_configuration_profile.this.configuration_profile_id
  content                  = var.content
  content_type             = "application/json"
}

resource "aws_appconfig_deployment_strategy" "this" {
  name                           = "${var.application}-${var.environment}"
  growth_type                    = "LINEAR"
  growth_factor                  = 25
  deployment_duration_in_minutes = var.deployment_minutes
  final_bake_time_in_minutes     = var.bake_minutes
  replicate_to                   = "NONE"
}

resource "aws_appconfig_deployment" "this" {
  application_id           = aws_appconfig_application.this.id
  environment_id           = aws_appconfig_environment.this.environment_id
  configuration_profile_id = aws_appconfig_configuration_profile.this.configuration_profile_id
  configuration_version    = aws_appconfig_hosted_configuration_version.this.version_number
  deployment_strategy_id   = aws_appconfig_deployment_strategy.this.id
}
