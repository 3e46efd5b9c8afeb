//! `infra/aws/template.yaml`, with its intrinsic functions resolved as `CloudFormation` would for one stack.

use std::collections::BTreeMap;
use std::fs;

use regrove_test_support::programs::workspace;
use serde_json::{Map, Value};

/// The account that moto plays.
pub(crate) const ACCOUNT: &str = "123456789012";
/// The region that everything is in.
pub(crate) const REGION: &str = "eu-central-1";
/// The stack.
pub(crate) const STACK: &str = "grove";

/// The template of one stack.
pub(crate) struct Template {
    whole: Value,
    parameters: BTreeMap<String, Value>,
}

/// A queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) fifo: bool,
    pub(crate) properties: Value,
}

/// A function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// The binary.
    pub(crate) name: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) timeout_seconds: u64,
    /// Bytes of `/tmp`.
    pub(crate) storage_bytes: u64,
    /// Logical id of its role.
    pub(crate) role: String,
    pub(crate) sources: Vec<EventSource>,
}

/// A queue that a function hears.
#[derive(Debug, Clone)]
pub(crate) struct EventSource {
    pub(crate) arn: String,
    pub(crate) batch_size: i32,
    pub(crate) reports_failures: bool,
}

impl Template {
    /// Reads it, with parameters for those that have no default, or another one.
    pub(crate) fn read(parameters: &[(&str, &str)]) -> Self {
        let text = fs::read_to_string(workspace().join("infra/aws/template.yaml")).unwrap();
        let whole: Value = serde_saphyr::from_str(&text).unwrap();
        let mut all = BTreeMap::new();
        for (name, parameter) in whole["Parameters"].as_object().unwrap() {
            all.insert(name.clone(), parameter["Default"].clone());
        }
        for (name, value) in parameters {
            all.insert((*name).to_owned(), Value::from(*value)).expect("a parameter of the template");
        }
        Self { whole, parameters: all }
    }

    fn of_type(&self, ty: &str) -> impl Iterator<Item = (&String, &Value)> {
        let resources = self.whole["Resources"].as_object().unwrap();
        resources.iter().filter(move |(_, resource)| resource["Type"] == *ty)
    }

    /// Every queue.
    pub(crate) fn queues(&self) -> Vec<Queue> {
        let queue = |(_, resource): (&String, &Value)| {
            let properties = self.resolve(&resource["Properties"]);
            let name = properties["QueueName"].as_str().unwrap().to_owned();
            Queue { name, fifo: properties["FifoQueue"] == true, properties }
        };
        self.of_type("AWS::SQS::Queue").map(queue).collect()
    }

    /// The one bucket.
    pub(crate) fn bucket(&self) -> String {
        self.attribute(self.of_type("AWS::S3::Bucket").next().unwrap().0, "Ref")
    }

    /// Every function.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let globals = &self.whole["Globals"]["Function"]["Environment"]["Variables"];
        let function = |(_, resource): (&String, &Value)| {
            let properties = self.resolve(&resource["Properties"]);
            let mut environment = strings(&self.resolve(globals));
            environment.extend(strings(&properties["Environment"]["Variables"]));
            let sources = properties["Events"].as_object().into_iter().flat_map(Map::values).map(|event| EventSource {
                arn: event["Properties"]["Queue"].as_str().unwrap().to_owned(),
                batch_size: i32::try_from(event["Properties"]["BatchSize"].as_i64().unwrap()).unwrap(),
                reports_failures: event["Properties"]["FunctionResponseTypes"][0] == "ReportBatchItemFailures",
            });
            Function {
                name: properties["CodeUri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(),
                environment,
                timeout_seconds: properties["Timeout"].as_u64().unwrap(),
                // In MB, of which Lambda gives 512 where nothing is said.
                storage_bytes: properties["EphemeralStorage"]["Size"].as_u64().unwrap_or(512) * 1_000_000,
                role: resource["Properties"]["Role"]["Fn::GetAtt"][0].as_str().unwrap().to_owned(),
                sources: sources.collect(),
            }
        };
        self.of_type("AWS::Serverless::Function").map(function).collect()
    }

    /// The ARNs that a role may do `action` to.
    pub(crate) fn allowed(&self, role: &str, action: &str) -> Vec<String> {
        let role = self.resolve(&self.whole["Resources"][role]["Properties"]);
        let list = |value: &Value| match value {
            Value::Array(items) => items.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        let policies = list(&role["Policies"]);
        let statements = policies.iter().flat_map(|policy| list(&policy["PolicyDocument"]["Statement"]));
        let fitting = statements.filter(|statement| list(&statement["Action"]).contains(&Value::from(action)));
        let resources = fitting.flat_map(|statement| list(&statement["Resource"]));
        resources.map(|arn| arn.as_str().unwrap().to_owned()).collect()
    }

    /// Any resource's properties.
    pub(crate) fn properties(&self, id: &str) -> Value {
        self.resolve(&self.whole["Resources"][id]["Properties"])
    }

    fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => match object.iter().next() {
                Some((name, argument)) if object.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) => {
                    self.intrinsic(name, argument)
                }
                _ => object
                    .iter()
                    .map(|(name, value)| (name.clone(), self.resolve(value)))
                    .filter(|(_, value)| value.as_str() != Some("AWS::NoValue"))
                    .collect::<Map<_, _>>()
                    .into(),
            },
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            other => other.clone(),
        }
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Value {
        match name {
            "Ref" => self.attribute(argument.as_str().unwrap(), "Ref").into(),
            "Fn::GetAtt" => self.attribute(argument[0].as_str().unwrap(), argument[1].as_str().unwrap()).into(),
            "Fn::Sub" => self.substitute(argument.as_str().unwrap()).into(),
            "Fn::If" => {
                let holds = self.condition(&self.whole["Conditions"][argument[0].as_str().unwrap()]);
                self.resolve(&argument[if holds { 1 } else { 2 }])
            }
            "Fn::Join" => {
                let parts = self.resolve(&argument[1]);
                let parts: Vec<_> = match &parts {
                    Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                parts.join(argument[0].as_str().unwrap()).into()
            }
            other => panic!("the template uses {other}, which this test does not know"),
        }
    }

    fn condition(&self, value: &Value) -> bool {
        let (name, argument) = value.as_object().unwrap().iter().next().unwrap();
        match name.as_str() {
            "Fn::Not" => !self.condition(&argument[0]),
            "Fn::Equals" => self.resolve(&argument[0]) == self.resolve(&argument[1]),
            other => panic!("the template uses {other}, which this test does not know"),
        }
    }

    /// `${Name}` and `${Name.Attribute}` replaced.
    fn substitute(&self, text: &str) -> String {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            let (id, attribute) = name.split_once('.').unwrap_or((name, "Ref"));
            whole.push_str(&self.attribute(id, attribute));
            whole.push_str(rest);
        }
        whole
    }

    fn attribute(&self, id: &str, attribute: &str) -> String {
        match id {
            "AWS::Region" => return REGION.to_owned(),
            "AWS::AccountId" => return ACCOUNT.to_owned(),
            "AWS::StackName" => return STACK.to_owned(),
            "AWS::URLSuffix" => return "amazonaws.com".to_owned(),
            "AWS::Partition" => return "aws".to_owned(),
            "AWS::NoValue" => return id.to_owned(),
            _ => {}
        }
        if let Some(parameter) = self.parameters.get(id) {
            return parameter.as_str().map_or_else(|| parameter.to_string(), str::to_owned);
        }
        let resource = &self.whole["Resources"][id];
        match (resource["Type"].as_str(), attribute) {
            (Some("AWS::SQS::Queue"), "Arn") => {
                let name = self.resolve(&resource["Properties"]["QueueName"]);
                format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", name.as_str().unwrap())
            }
            // As `CloudFormation` names what the template leaves without a name.
            (Some("AWS::S3::Bucket"), "Ref") => format!("{STACK}-{}", id.to_lowercase()),
            (Some("AWS::S3::Bucket"), "Arn") => format!("arn:aws:s3:::{STACK}-{}", id.to_lowercase()),
            (Some("AWS::IAM::Role"), "Arn") => format!("arn:aws:iam::{ACCOUNT}:role/{id}"),
            (ty, attribute) => panic!("{attribute} of {id} ({ty:?}) is not known to this test"),
        }
    }
}

fn strings(object: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    object.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}
