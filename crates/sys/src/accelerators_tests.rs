use super::*;
use crate::{MapEnv, RealFs};

const LISTED: &str = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-48aeb943-9458-4282-da24-e5f49e0db44b)
  MIG 3g.20gb     Device  0: (UUID: MIG-5be7a0b7-cfe1-5b34-8ec1-4a4b3b9c1a11)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-48aeb943-9458-4282-da24-e5f49e0db44b/7/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-fad0b2b3-2e0c-4b3a-bb1d-5a9d3ff3d5b1)
";

/// A machine with these files and variables; its tool answers `smi`.
struct Scene {
    root: tempfile::TempDir,
    env: MapEnv,
    smi: Option<&'static str>,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("ours");
            std::fs::write(path, text).expect("ours");
        }
        Self { root, env: MapEnv::new("/"), smi: None }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.env = self.env.with(name, value);
        self
    }

    fn answers(self, smi: &'static str) -> Self {
        Self { smi: Some(smi), ..self }
    }

    fn choose(&self, wanted: Option<&str>) -> Result<Accelerators, BadAccelerator> {
        let smi = || self.smi.map(str::to_owned);
        Machine { env: &self.env, fs: &RealFs, root: self.root.path(), smi: &smi }.choose(wanted)
    }

    fn names(&self, wanted: Option<&str>) -> Vec<String> {
        self.choose(wanted).expect("they are names").names
    }
}

const TWO: [(&str, &str); 2] = [
    (
        "proc/driver/nvidia/gpus/0000:3b:00.0/information",
        "Model: \t Tesla T4\nGPU UUID: \t GPU-aa-1\nDevice Minor: \t 0\n",
    ),
    (
        "proc/driver/nvidia/gpus/0000:86:00.0/information",
        "Model: \t Tesla T4\nGPU UUID: \t GPU-bb-2\nDevice Minor: \t 1\n",
    ),
];
const HIDDEN: (&str, &str) = ("proc/driver/nvidia/gpus/0000:86:00.0/information", "GPU UUID: \t GPU-????????-????\n");
const KFD: [(&str, &str); 3] = [
    ("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 64\nsimd_count 0\n"),
    ("sys/class/kfd/kfd/topology/nodes/1/properties", "cpu_cores_count 0\nsimd_count 440\n"),
    ("sys/class/kfd/kfd/topology/nodes/2/properties", "cpu_cores_count 0\nsimd_count 440\n"),
];

#[test]
fn a_machine_without_any_has_none_and_its_tool_is_not_asked() {
    let scene = Scene::new(&[("dev/null", "")]).answers(LISTED);
    assert_eq!(scene.choose(None), Ok(Accelerators::default()));
}

#[test]
fn the_callers_variable_is_read_as_the_runtime_reads_it() {
    for (text, expected) in [
        ("2,0", &["2", "0"][..]),
        ("", &[]),
        ("-1", &[]),
        ("NoDevFiles", &[]),
        ("1,-1,0", &["1"]),
        (" 0, 3 ", &["0", "3"]),
        ("0,0,1", &["0", "1"]),
        ("GPU-48aeb943", &["GPU-48aeb943"]),
        ("MIG-5be7a0b7-cfe1", &["MIG-5be7a0b7-cfe1"]),
        ("MIG-GPU-48aeb943-9458/7/0", &["MIG-GPU-48aeb943-9458/7/0"]),
    ] {
        assert_eq!(Scene::new(&TWO).with("CUDA_VISIBLE_DEVICES", text).names(None), expected, "{text}");
    }
}

#[test]
fn the_driver_names_what_is_there_and_instances_stand_for_what_is_cut() {
    let scene = Scene::new(&TWO);
    assert_eq!(scene.names(None), ["GPU-aa-1", "GPU-bb-2"]);
    assert_eq!(
        scene.answers(LISTED).names(None),
        [
            "MIG-5be7a0b7-cfe1-5b34-8ec1-4a4b3b9c1a11",
            "MIG-GPU-48aeb943-9458-4282-da24-e5f49e0db44b/7/0",
            "GPU-fad0b2b3-2e0c-4b3a-bb1d-5a9d3ff3d5b1",
        ]
    );
    assert_eq!(Scene::new(&[TWO[0], HIDDEN]).names(None), ["0", "1"], "one identity is hidden: all are numbers");
    let nodes = [("dev/nvidia0", ""), ("dev/nvidia7", ""), ("dev/nvidiactl", ""), ("dev/nvidia-uvm", "")];
    assert_eq!(Scene::new(&nodes).names(None), ["0", "1"]);
}

#[test]
fn a_choice_is_a_number_or_a_list() {
    let scene = Scene::new(&TWO);
    assert_eq!(scene.names(Some("1")), ["GPU-aa-1"]);
    assert_eq!(scene.names(Some("5")), ["GPU-aa-1", "GPU-bb-2"], "there are no more");
    assert_eq!(scene.names(Some("0")), [""; 0]);
    assert_eq!(scene.names(Some("1,")), ["1"], "a list of one has a comma");
    assert_eq!(scene.names(Some("GPU-bb-2,0")), ["GPU-bb-2", "0"]);
    assert_eq!(Scene::new(&[]).names(Some("2")), ["0", "1"], "what shows itself nowhere can be counted");
    for bad in ["two", "0,0", "0,x", "-1", "GPU-", "", "100000"] {
        assert!(scene.choose(Some(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_program_is_told_what_is_its_own_in_the_words_of_its_runtime() {
    let told = |scene: &Scene, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let variables = scene.choose(None).expect("no choice").variables(&names);
        variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let nvidia = Scene::new(&TWO);
    assert_eq!(told(&nvidia, &["GPU-bb-2"]), ["CUDA_VISIBLE_DEVICES=GPU-bb-2", "NVIDIA_VISIBLE_DEVICES=GPU-bb-2"]);
    assert_eq!(told(&nvidia, &[]), ["CUDA_VISIBLE_DEVICES=-1", "NVIDIA_VISIBLE_DEVICES=none"]);
    let numbered = Scene::new(&[("dev/nvidia0", ""), ("dev/nvidia1", "")]);
    assert_eq!(told(&numbered, &["1"])[2], "CUDA_DEVICE_ORDER=PCI_BUS_ID", "the numbers are the driver's");
    let asked = Scene::new(&TWO).with("CUDA_VISIBLE_DEVICES", "3,5");
    assert_eq!(told(&asked, &["5"]).len(), 2, "a caller's numbers are in the caller's order");
    let amd = Scene::new(&KFD);
    assert_eq!(amd.names(None), ["0", "1"]);
    assert_eq!(
        told(&amd, &["1"]),
        ["ROCR_VISIBLE_DEVICES=1", "HIP_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=0"],
        "HIP counts what the driver's variable leaves"
    );
    let hip = Scene::new(&KFD).with("HIP_VISIBLE_DEVICES", "1").with("ROCR_VISIBLE_DEVICES", "0,1");
    assert_eq!(told(&hip, &["1"]), ["HIP_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=1"]);
}
