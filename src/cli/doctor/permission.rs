//! The statement of IAM that allows what was refused.

/// Actions that belong together: who may begin a session wants what it brings.
const ACTIONS: &str =
    "\"appconfig:StartConfigurationSession\", \"appconfig:GetLatestConfiguration\"";

/// For the message of a refusal; `None` where it is none.
///
/// AWS writes `User: ARN is not authorized to perform: ACTION on resource: ARN because …`.
pub fn statement(message: &str) -> Option<String> {
    if !message.contains("AccessDenied") {
        return None;
    }
    let of = |before: &str| {
        let (_, rest) = message.split_once(before)?;
        let word = rest.split_whitespace().next()?;
        let word = word.trim_end_matches(['.', ',', ';', ':']);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-:/_+=.@*".contains(c);
        (!word.is_empty() && word.chars().all(plain)).then_some(word)
    };
    let action = of("not authorized to perform: ");
    let resource = of("on resource: ");
    let resource = resource.unwrap_or(
        "arn:aws:appconfig:REGION:ACCOUNT:application/ID/environment/ID/configuration/ID",
    );
    let actions = match action {
        Some(action) if !action.starts_with("appconfig:") => format!("\"{action}\""),
        Some(_) | None => ACTIONS.to_owned(),
    };
    Some(format!(
        "{{\"Effect\": \"Allow\", \"Action\": [{actions}], \"Resource\": \"{resource}\"}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "profile `limits`: StartConfigurationSession: AccessDeniedException (403): User: \
arn:aws:sts::111122223333:assumed-role/shop/i-1 is not authorized to perform: appconfig:StartConfigurationSession on \
resource: arn:aws:appconfig:eu-west-1:111122223333:application/abc/environment/def/configuration/ghi because no \
identity-based policy allows it, request id 1; allow …";

    #[test]
    fn the_statement_names_the_resource_that_was_refused_and_both_calls() {
        let statement = statement(REFUSED).unwrap();
        let statement: serde_json::Value = serde_json::from_str(&statement).unwrap();
        assert_eq!(
            statement,
            serde_json::json!({
                "Effect": "Allow",
                "Action": ["appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration"],
                "Resource": "arn:aws:appconfig:eu-west-1:111122223333:application/abc/environment/def/configuration/ghi"
            })
        );
    }

    #[test]
    fn another_call_is_named_by_itself_and_what_no_arn_is_does_not_get_in() {
        let kms = REFUSED.replace("appconfig:StartConfigurationSession on", "kms:Decrypt on");
        assert!(statement(&kms).unwrap().contains("[\"kms:Decrypt\"]"));
        let hostile = REFUSED.replace("arn:aws:appconfig:", "\"}],");
        let statement_of = statement(&hostile).unwrap();
        assert!(
            statement_of.contains("/ID/configuration/ID"),
            "{statement_of}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&statement_of).is_ok());
        assert_eq!(statement("ResourceNotFoundException (404)"), None);
    }
}
