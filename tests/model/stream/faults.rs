//! Files that change, and devices that are lost.

use bantam::archive::{ArchiveError, ModelFiles};
use bantam::gpu::GpuError;
use bantam::model::{LoadOptions, Model, ModelError, Outputs};

use super::{both_ways, few_tokens, forward, least_session, session_within, ten_layers, tokens};
use crate::device;
use crate::models::assert_same_bits;

#[test]
fn a_file_that_is_cut_short_is_an_error_and_one_that_is_removed_is_none() {
    // Neither are bytes that somebody writes taken for weights, whatever they are decoded to.
    let cut = |file: &std::fs::File| file.set_len(1000).unwrap();
    let overwrite = |file: &std::fs::File| {
        let len = file.metadata().unwrap().len();
        std::io::Write::write_all(&mut &*file, &vec![0xff; len as usize]).unwrap();
    };
    for way in [0, 1] {
        change_a_file(way, cut);
        change_a_file(way, overwrite);
    }
}

fn change_a_file(way: usize, change: impl Fn(&std::fs::File)) {
    let (_temporary, folder) = ten_layers();
    let gpu = device::shared();
    let (mut session, tokens) = (session_within(&gpu, &folder, &both_ways(&folder)[way]), few_tokens());
    let wanted = forward(&mut session, &tokens).unwrap();
    let path = ModelFiles::open(&folder).unwrap().sources()[0].path().to_path_buf();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    session.rewind(0);
    assert_same_bits(&wanted, &forward(&mut session, &tokens).unwrap(), "without a name");
    change(&file);
    session.rewind(0);
    // What was brought before may still do for one pass.
    let error = (0..2).find_map(|_| {
        session.rewind(0);
        forward(&mut session, &tokens).err()
    });
    let error = error.unwrap();
    assert!(matches!(error, ModelError::Archive(ArchiveError::Changed { .. })), "{error}");
    assert!(error.to_string().contains("was changed while it was in use"), "{error}");
    assert_eq!(session.position(), 0);
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
    // The device is as good as before.
    gpu.buffer("still there", 1000, wgpu::BufferUsages::STORAGE).unwrap();
}

#[test]
fn a_file_that_is_cut_short_while_it_is_loaded_is_an_error() {
    let (_temporary, folder) = ten_layers();
    let path = ModelFiles::open(&folder).unwrap().sources()[0].path().to_path_buf();
    let whole = std::fs::read(&path).unwrap();
    let [dense, decoded] = both_ways(&folder);
    for options in [LoadOptions::default(), dense, decoded] {
        for part in [20, 9, 3] {
            std::fs::write(&path, &whole).unwrap();
            let files = ModelFiles::open(&folder).unwrap();
            let left = whole.len() as u64 * part / 21;
            std::fs::File::options().write(true).open(&path).unwrap().set_len(left).unwrap();
            let gpu = device::shared();
            let error = pollster::block_on(Model::load(&gpu, &files, &options, &())).unwrap_err();
            assert!(matches!(error, ModelError::Archive(ArchiveError::Changed { .. })), "{error}");
            assert_eq!(gpu.memory().used(), 0);
        }
    }
}

#[test]
fn a_lost_device_is_an_error() {
    let (_temporary, folder) = ten_layers();
    let gpu = device::gpu();
    let (mut session, tokens) = (least_session(&gpu, &folder), tokens(300));
    forward(&mut session, &tokens).unwrap();
    {
        session.rewind(0);
        let mut pass = Box::pin(session.forward(&tokens, Outputs::Last));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(pass.as_mut().poll(&mut context).is_pending());
        gpu.device().destroy();
        let error = pollster::block_on(pass).unwrap_err();
        assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error}");
    }
    let error = forward(&mut session, &tokens).unwrap_err();
    assert!(matches!(error, ModelError::Gpu(GpuError::DeviceLost(_))), "{error}");
    drop(session);
    assert_eq!(gpu.memory().used(), 0);
}
