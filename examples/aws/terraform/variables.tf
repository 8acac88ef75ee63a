variable "application" {
  description = "AppConfig's application, as the settings name it."
  type        = string
  default     = "shop"
}

variable "environment" {
  description = "AppConfig's environment, as the settings name it."
  type        = string
  default     = "prod"
}

variable "profile" {
  description = "The configuration profile; in the settings the profile has the same name."
  type        = string
  default     = "limits"
}

variable "content" {
  description = "The configuration. Another content is another deployment."
  type        = string
  default     = <<-EOT
    {"requests_per_second": 100}
  EOT
}

variable "schema" {
  description = "A JSON Schema (draft 4) that AppConfig holds every version against."
  type        = string
  default     = <<-EOT
    {
      "$schema": "http://json-schema.org/draft-04/schema#",
      "type": "object",
      "required": ["requests_per_second"],
      "properties": {"requests_per_second": {"type": "integer", "minimum": 1}}
    }
  EOT
}

variable "deployment_minutes" {
  description = "How long a deployment takes from the first hosts to the last."
  type        = number
  default     = 20
}

variable "bake_minutes" {
  description = "How long the alarm is watched when all hosts have the version."
  type        = number
  default     = 10
}
