//! What enters the step key, and what does not: two pieces of work have one key exactly if everything that can change the
//! result is the same.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use proptest::{collection::btree_map, option, prelude::*, sample::select};
use prunella_model::{
    Artifact, ArtifactKind, Backoff, BoundInput, ByteSize, CapacityWish, Check, Checkpoint, CheckpointFormat,
    CheckpointId, Class, ClassPolicy, Command, ContentFormat, DataPin, Digest, EnvironmentPin, Epoch, GRAPH_FORMAT,
    Graph, Item, KeyScope, OnNotice, Output, ParamValue, Pipeline, Platform, Prefer, Reference, RelPath, Resources,
    RetryPolicy, Reuse, RunId, SlotId, Source, Span, Step, StepId, StepKey, StepName, Template, WarmStart, step_key,
};

/// All that is known of a step when its key is computed.
#[derive(Debug, Clone)]
struct Work {
    graph: Graph,
    id: StepId,
    inputs: BTreeMap<prunella_model::PortName, BoundInput>,
    scope: KeyScope,
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

impl Work {
    fn step(&self) -> &Step {
        &self.graph.pipeline.steps["a"]
    }

    fn step_mut(&mut self) -> &mut Step {
        self.graph.pipeline.steps.get_mut("a").expect("it is there")
    }

    fn key(&self) -> StepKey {
        step_key(&self.graph, &self.id, self.step(), &self.inputs, &self.scope)
    }

    /// Returns, as text, exactly what may enter: the oracle.
    fn enters(&self) -> String {
        let step = self.step();
        let mut params: Vec<_> = step
            .run
            .templates()
            .iter()
            .flat_map(Template::references)
            .filter_map(|reference| match reference {
                Reference::Param(name) => Some((name.to_string(), self.graph.pipeline.params.get(name.as_str()))),
                _ => None,
            })
            .collect();
        params.sort_by(|a, b| a.0.cmp(&b.0));
        params.dedup();
        let run: Vec<&str> = step.run.templates().iter().map(Template::source).collect();
        let shell = matches!(step.run, Command::Shell(_));
        let environment = self.graph.environment.as_ref().map(|pin| pin.digest);
        let platform = environment.is_none().then_some(&self.graph.platform);
        let code = self.graph.code_of(&self.id.name).map(|code| code.digest);
        let scope = match step.reuse {
            Reuse::Always => (None, None),
            Reuse::Run => (Some(&self.scope.run), None),
            Reuse::Never => (Some(&self.scope.run), Some(self.scope.driver)),
        };
        let force = self.graph.force.get(&self.id.name);
        // What it was called and numbered does not enter, but what it holds and how it lies there.
        let warm = self
            .graph
            .warm
            .get(&self.id.name)
            .map(|warm| (&warm.entry, warm.artifact.kind, warm.executable, warm.artifact.digest));
        let secrets: BTreeSet<_> = step.secrets.iter().collect();
        format!(
            "{:?}",
            (
                (shell, run, &self.id.item, params),
                (environment, platform, code),
                (&self.inputs, &step.env, secrets, &step.outputs),
                (step.reuse, scope, force),
                warm
            )
        )
    }
}

/// Texts that are short and alike, so that a careless encoding would confuse them.
fn text() -> impl Strategy<Value = String> {
    select(vec!["", "a", "b", "ab", "a b", "1", "1.0", "true", "a\0", "ä", "a\u{308}"]).prop_map(str::to_owned)
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    select(vec!["a", "b", "ab"]).prop_map(parsed::<T>)
}

fn digest() -> impl Strategy<Value = Digest> {
    (0u8..3).prop_map(|n| Digest::from_bytes([n; 32]))
}

fn kind() -> impl Strategy<Value = ArtifactKind> {
    select(vec![ArtifactKind::File, ArtifactKind::Tree])
}

fn template() -> impl Strategy<Value = Template> {
    let words = ["a", "b", "${{ params.a }}", "${{params.a}}", "${{ params.b }}", "${{ params.ab }}", "$${{ x }}"];
    proptest::collection::vec(select(words.to_vec()), 0..3)
        .prop_map(|words| Template::parse(&words.join(" ")).expect("a template"))
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        template().prop_map(Command::Shell),
        proptest::collection::vec(template(), 1..3).prop_map(Command::Argv)
    ]
}

fn param() -> impl Strategy<Value = ParamValue> {
    prop_oneof![
        any::<bool>().prop_map(ParamValue::Bool),
        (-1i64..3).prop_map(ParamValue::Integer),
        select(vec!["1.0", "1.00", "1e0"]).prop_map(|text| ParamValue::Decimal(text.to_owned())),
        text().prop_map(ParamValue::Text),
        proptest::collection::vec(select(vec!["1", "\"1\"", "{\"a\":1}"]), 0..3)
            .prop_map(|items| ParamValue::List(items.into_iter().map(Item::from_canonical).collect()))
    ]
}

fn output() -> impl Strategy<Value = Output> {
    let size = || option::of((0u64..3).prop_map(ByteSize));
    let format = option::of(select(vec![ContentFormat::Json, ContentFormat::Jsonl, ContentFormat::Any]));
    let files = proptest::collection::vec(text(), 0..2);
    (select(vec!["a", "b", "a/b"]), any::<bool>(), files, size(), size(), format, option::of(text())).prop_map(
        |(path, tree, files, min_size, max_size, format, command)| Output {
            path: RelPath::new(path).expect("a path"),
            tree,
            check: Check { files, min_size, max_size, format, command },
        },
    )
}

fn input() -> impl Strategy<Value = BoundInput> {
    (kind(), select(vec!["a", "b"]), digest()).prop_map(|(kind, base_name, digest)| BoundInput {
        kind,
        base_name: base_name.to_owned(),
        digest,
    })
}

prop_compose! {
    fn step()(
        run in command(),
        outputs in btree_map(name(), output(), 0..2),
        env in btree_map(select(vec!["A", "B", "AB"]), text(), 0..3),
        secrets in proptest::sample::subsequence(vec!["A", "B", "AB"], 0..3),
        reuse in select(vec![Reuse::Always, Reuse::Run, Reuse::Never]),
    ) -> Step {
        let variable = |name: &str| prunella_model::EnvName::new(name).expect("a name");
        Step {
            run,
            inputs: BTreeMap::new(),
            outputs,
            checkpoint: None,
            resources: Resources::default(),
            capacity: None,
            env: env.into_iter().map(|(name, value)| (variable(name), value)).collect(),
            pass_env: Vec::new(),
            secrets: secrets.into_iter().map(variable).collect(),
            secret_files: BTreeMap::new(),
            retry: RetryPolicy::default(),
            timeout: None,
            stall: None,
            deterministic: true,
            reuse,
            on_notice: OnNotice::Interrupt,
            for_each: None,
            after: Vec::new(),
            code: None,
            publish: BTreeMap::new(),
            when: None,
            handler: None,
        }
    }
}

/// A checkpoint to begin with; only a file is executable.
fn warm() -> impl Strategy<Value = WarmStart> {
    (select(vec!["a", "b"]), kind(), any::<bool>(), digest(), 1u64..3).prop_map(
        |(entry, kind, executable, digest, seq)| {
            let slot = SlotId { key: StepKey(digest), epoch: Epoch(1) };
            WarmStart {
                checkpoint: CheckpointId { slot, seq },
                entry: entry.to_owned(),
                executable: executable && kind == ArtifactKind::File,
                artifact: Artifact { kind, digest, size_bytes: seq },
            }
        },
    )
}

prop_compose! {
    fn work()(
        step in step(),
        params in btree_map(name(), param(), 0..3),
        inputs in btree_map(name(), input(), 0..3),
        (code, step_code) in (option::of(digest()), option::of(digest())),
        environment in option::of(digest()),
        (os, arch) in (select(vec!["linux", "macos"]), select(vec!["x86_64", "aarch64"])),
        item in option::of(select(vec!["1", "\"1\"", "{\"a\":1}"])),
        (force, warm) in (option::of(text()), option::of(warm())),
        (run, driver) in (select(vec!["r", "s"]), 1u64..3),
    ) -> Work {
        let tree = |digest| Artifact { kind: ArtifactKind::Tree, digest, size_bytes: 1 };
        let a: StepName = parsed("a");
        let pipeline = Pipeline {
            name: parsed("p"),
            params,
            data: BTreeMap::new(),
            mounted: Default::default(),
            referenced: Default::default(),
            code: Vec::new(),
            environment: None,
            steps: IndexMap::from([(a.clone(), step)]),
        };
        let graph = Graph {
            format: GRAPH_FORMAT,
            pipeline,
            data: BTreeMap::new(),
            code: code.map(tree),
            step_code: step_code.map(|code| (a.clone(), tree(code))).into_iter().collect(),
            environment: environment.map(|digest| EnvironmentPin { digest, lock: serde_json::Value::Null }),
            platform: Platform { os: os.to_owned(), arch: arch.to_owned() },
            force: force.map(|nonce| (a.clone(), nonce)).into_iter().collect(),
            warm: warm.map(|warm| (a.clone(), warm)).into_iter().collect(),
        };
        let id = StepId { name: a, item: item.map(Item::from_canonical) };
        Work { graph, id, inputs, scope: KeyScope { run: RunId::new(run).expect("an id"), driver } }
    }
}

fn begun_with(digest: Digest) -> WarmStart {
    let slot = SlotId { key: StepKey(digest), epoch: Epoch(1) };
    let artifact = Artifact { kind: ArtifactKind::File, digest, size_bytes: 1 };
    WarmStart { checkpoint: CheckpointId { slot, seq: 1 }, entry: "a".to_owned(), executable: false, artifact }
}

/// A change with its name.
type Change = (&'static str, fn(&mut Work));

/// Changes that decide whether, when and where a step finishes, not what it makes.
const OUTSIDE: &[Change] = &[
    ("retry", |work| {
        let policy = ClassPolicy {
            limit: Some(9),
            backoff: Some(Backoff { first: Span::from_secs(1), most: Span::from_secs(2) }),
        };
        work.step_mut().retry.0.insert(Class::Killed, policy);
    }),
    ("timeout", |work| work.step_mut().timeout = Some(Span::from_secs(1))),
    ("stall", |work| work.step_mut().stall = Some(Span::from_secs(1))),
    ("resources", |work| {
        work.step_mut().resources = Resources { cpu_millis: 7, gpu: 1, shm: Some(ByteSize(1)), ..Resources::default() }
    }),
    ("capacity", |work| work.step_mut().capacity = Some(CapacityWish { prefer: Some(Prefer::Spot), patience: None })),
    ("pass_env", |work| work.step_mut().pass_env = vec![prunella_model::EnvName::new("PASSED").expect("a name")]),
    ("secret_files", |work| {
        let name = prunella_model::EnvName::new("A").expect("a name");
        work.step_mut().secret_files.insert(name, "secrets/a".to_owned());
    }),
    ("checkpoint", |work| {
        work.step_mut().checkpoint = Some(Checkpoint {
            format: CheckpointFormat::Files,
            every: Span::from_secs(1),
            auto: true,
            keep: 2,
            grace: Span::from_secs(1),
            sealed: true,
            ranks: None,
        });
    }),
    ("the order of secrets", |work| work.step_mut().secrets.reverse()),
    ("after", |work| work.step_mut().after = vec![parsed("b")]),
    ("deterministic", |work| work.step_mut().deterministic = false),
    ("on_notice", |work| work.step_mut().on_notice = OnNotice::Finish),
    ("where an input comes from", |work| {
        work.step_mut().inputs.insert(parsed("a"), Source::Data(parsed("elsewhere")));
    }),
    ("the patterns of code, not its content", |work| work.step_mut().code = Some(vec!["*.py".to_owned()])),
    ("the name of the pipeline", |work| work.graph.pipeline.name = parsed("q")),
    ("a parameter that is not referred to", |work| {
        work.graph.pipeline.params.insert(parsed("unused"), ParamValue::Integer(1));
    }),
    ("data that is not an input", |work| {
        let artifact = Artifact { kind: ArtifactKind::File, digest: Digest::of(b"x"), size_bytes: 1 };
        let pin = DataPin { artifact, base_name: "x".to_owned(), pinned: false, mounted: None, referenced: None };
        work.graph.data.insert(parsed("x"), pin);
    }),
    ("another step", |work| {
        let step = work.step().clone();
        work.graph.pipeline.steps.insert(parsed("b"), step);
    }),
    ("another step's code and force", |work| {
        let code = Artifact { kind: ArtifactKind::Tree, digest: Digest::of(b"x"), size_bytes: 1 };
        work.graph.step_code.insert(parsed("b"), code);
        work.graph.force.insert(parsed("b"), "nonce".to_owned());
    }),
    ("what another step begins with", |work| {
        let warm = begun_with(Digest::of(b"x"));
        work.graph.warm.insert(parsed("b"), warm);
    }),
    ("what the checkpoint that it begins with was called", |work| {
        if let Some(warm) = work.graph.warm.get_mut("a") {
            warm.checkpoint.slot.epoch = Epoch(99);
        }
    }),
    ("the lock's text, its digest being the same", |work| {
        if let Some(pin) = &mut work.graph.environment {
            pin.lock = serde_json::Value::Bool(true);
        }
    }),
    ("the name of the step", |work| {
        let (name, code, force) =
            (parsed::<StepName>("c"), work.graph.code_of(&work.id.name).copied(), work.graph.force.get("a").cloned());
        work.graph.step_code = code.map(|code| (name.clone(), code)).into_iter().collect();
        work.graph.force = force.map(|nonce| (name.clone(), nonce)).into_iter().collect();
        work.graph.warm = work.graph.warm.remove("a").map(|warm| (name.clone(), warm)).into_iter().collect();
        work.id.name = name;
    }),
];

/// Changes of everything that a step can see.
const INSIDE: &[Change] = &[
    ("the command", |work| work.step_mut().run = Command::Shell(Template::parse("other").expect("a template"))),
    ("shell or list", |work| {
        let run = match &work.step().run {
            Command::Shell(template) => Command::Argv(vec![template.clone()]),
            Command::Argv(templates) => Command::Shell(templates[0].clone()),
        };
        work.step_mut().run = run;
    }),
    ("the item", |work| work.id.item = Some(Item::from_canonical("\"other\""))),
    ("the environment", |work| {
        work.graph.environment = Some(EnvironmentPin { digest: Digest::of(b"other"), lock: serde_json::Value::Null });
    }),
    ("the code", |work| {
        let code = Artifact { kind: ArtifactKind::Tree, digest: Digest::of(b"other"), size_bytes: 1 };
        work.graph.step_code.insert(parsed("a"), code);
    }),
    ("one more input", |work| {
        let input = BoundInput { kind: ArtifactKind::File, base_name: "x".to_owned(), digest: Digest::of(b"x") };
        work.inputs.insert(parsed("other"), input);
    }),
    ("one more variable", |work| {
        work.step_mut().env.insert(prunella_model::EnvName::new("OTHER").expect("a name"), String::new());
    }),
    ("one more secret's name", |work| {
        work.step_mut().secrets.push(prunella_model::EnvName::new("OTHER").expect("a name"));
    }),
    ("one more output", |work| {
        let path = RelPath::new("other").expect("a path");
        work.step_mut().outputs.insert(parsed("other"), Output { path, tree: false, check: Check::default() });
    }),
    ("force", |work| {
        work.graph.force.insert(parsed("a"), "other".to_owned());
    }),
    ("the checkpoint that it begins with", |work| {
        work.graph.warm.insert(parsed("a"), begun_with(Digest::of(b"other")));
    }),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_keys_are_equal_exactly_if_what_enters_is_equal(one in work(), other in work()) {
        prop_assert_eq!(one.key() == other.key(), one.enters() == other.enters());
    }

    #[test]
    fn one_change_of_what_enters_changes_the_key(work in work(), other in work(), part in 0usize..9) {
        // All but one part are the same, so that each part is seen to count by itself.
        let mut changed = work.clone();
        match part {
            0 => changed.step_mut().run = other.step().run.clone(),
            1 => changed.graph.pipeline.params = other.graph.pipeline.params.clone(),
            2 => changed.inputs = other.inputs.clone(),
            3 => changed.step_mut().env = other.step().env.clone(),
            4 => changed.step_mut().secrets = other.step().secrets.clone(),
            5 => changed.step_mut().outputs = other.step().outputs.clone(),
            6 => (changed.graph.environment, changed.graph.platform) = (other.graph.environment, other.graph.platform),
            7 => changed.scope = other.scope,
            _ => changed.step_mut().reuse = other.step().reuse,
        }
        prop_assert_eq!(work.key() == changed.key(), work.enters() == changed.enters());
    }

    #[test]
    fn what_a_step_sees_changes_the_key(work in work()) {
        for (name, change) in INSIDE {
            let mut changed = work.clone();
            change(&mut changed);
            if changed.enters() != work.enters() {
                prop_assert_ne!(changed.key(), work.key(), "{}", name);
            }
        }
    }

    #[test]
    fn what_decides_only_when_and_where_leaves_the_key(work in work()) {
        for (name, change) in OUTSIDE {
            let mut changed = work.clone();
            change(&mut changed);
            // The step is looked up under its first name: renaming it must not count either.
            let key = step_key(&changed.graph, &changed.id, changed.step(), &changed.inputs, &changed.scope);
            prop_assert_eq!(key, work.key(), "{}", name);
        }
    }

    #[test]
    fn a_key_survives_the_record_of_its_graph(work in work()) {
        let json = serde_json::to_string(&work.graph).expect("JSON");
        let read = Work { graph: serde_json::from_str(&json).expect("a graph"), ..work.clone() };
        prop_assert_eq!(read.key(), work.key());
        prop_assert_eq!(read.graph.digest(), work.graph.digest());
    }
}

#[test]
fn the_order_of_the_file_does_not_count() {
    let write = |steps: &str, params: &str| {
        let json = format!(
            r#"{{"format":1,"pipeline":{{"name":"p","params":{params},"steps":{steps}}},"platform":{{"os":"linux","arch":"x86_64"}}}}"#
        );
        let graph: Graph = serde_json::from_str(&json).expect("a graph");
        let id = StepId::plain(parsed("a"));
        let scope = KeyScope { run: RunId::new("r").expect("an id"), driver: 1 };
        step_key(&graph, &id, &graph.pipeline.steps["a"], &BTreeMap::new(), &scope)
    };
    let a = r#""a":{"run":{"shell":"x ${{ params.m }} ${{ params.n }}"},"env":{"A":"1","B":"2"},"deterministic":true}"#;
    let turned =
        r#""a":{"env":{"B":"2","A":"1"},"deterministic":true,"run":{"shell":"x ${{ params.m }} ${{ params.n }}"}}"#;
    let b = r#""b":{"run":{"shell":"y"},"deterministic":true}"#;
    let one = write(&format!("{{{a},{b}}}"), r#"{"m":{"integer":1},"n":{"integer":2}}"#);
    let other = write(&format!("{{{b},{turned}}}"), r#"{"n":{"integer":2},"m":{"integer":1}}"#);
    assert_eq!(one, other);
}
