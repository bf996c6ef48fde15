//! An application that draws with its own wgpu device, and has a model write a text on the same device meanwhile.
//!
//! There is one thread and one loop. Each turn of it draws a frame, a triangle that turns above a bar that
//! grows with the text, and then asks the model whether there is something new, without waiting for it.
//! Frames go to a texture instead of a window, so that this runs anywhere.
//!
//! `cargo run --release --example embed_device -- assets/demo "The little rooster"`

use std::time::{Duration, Instant};

use bantam::model::LoadOptions;
use bantam::runtime::{
    Generation, GenerationOptions, Runtime, RuntimeError, RuntimeOptions, SessionOptions, TextModel,
    TextSession, Working, required_features, required_limits,
};
use futures::{FutureExt, StreamExt};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Tokens to generate.
const MOST: usize = 120;

/// As many frames a second as a screen usually shows.
const FRAME: Duration = Duration::from_micros(16_667);

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or("assets/demo".into());
    let prompt = args.next().unwrap_or("The little rooster".into());

    // The application's device, made as it likes, with what the model's kernels need besides.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: required_features(&adapter),
        required_limits: wgpu::Limits::default().or_better_values_from(&required_limits(&adapter)),
        ..Default::default()
    }))?;
    let scene = Scene::new(&device);

    let runtime = Runtime::from_device(device.clone(), queue.clone(), &RuntimeOptions::default())?;
    let mut writer = Writer::new(&runtime, folder, prompt);
    let mut frames = Frames::default();
    while !writer.is_done() {
        let began = Instant::now();
        frames.wait_for_the_one_before(&device)?;
        frames.drawn(scene.draw(&device, &queue, began, writer.progress()));
        writer.look()?;
        frames.ended(began);
    }
    println!("{}", writer.text);
    let (longest, [loading, opening, writing]) = (1e3 * frames.longest.as_secs_f64(), writer.looks);
    println!("{} frames, the longest took {longest:.1} ms", frames.count);
    println!("{loading} of them while the model was loaded, {opening} while the session was opened");
    println!("{writing} of them while it wrote {} tokens", writer.tokens);
    println!("the last frame has {} bright pixels", scene.bright_pixels(&device, &queue)?);
    Ok(())
}

/// What the model is at.
enum Stage {
    Loading(Working<TextModel>),
    Opening(Working<TextSession>),
    Writing(Generation),
    Done,
}

/// Loads a model and has it write, a little whenever it is looked at.
struct Writer {
    stage: Stage,
    text: String,
    prompt: String,
    tokens: usize,
    /// How often it was looked at while it loaded, opened a session, and wrote.
    looks: [usize; 3],
}

impl Writer {
    fn new(runtime: &Runtime, folder: String, prompt: String) -> Self {
        let loading = runtime.load(folder, &LoadOptions::default(), ());
        Self { stage: Stage::Loading(loading), text: prompt.clone(), prompt, tokens: 0, looks: [0; 3] }
    }

    /// Takes what has come since it was looked at last. Never waits.
    fn look(&mut self) -> Result<(), RuntimeError> {
        match &mut self.stage {
            Stage::Loading(loading) => {
                self.looks[0] += 1;
                if let Some(model) = loading.now_or_never() {
                    self.stage = Stage::Opening(model?.open(&SessionOptions::default()));
                }
            }
            Stage::Opening(opening) => {
                self.looks[1] += 1;
                if let Some(session) = opening.now_or_never() {
                    let options = GenerationOptions::default().with_max_tokens(MOST);
                    self.stage = Stage::Writing(session?.complete(&self.prompt, &options)?);
                }
            }
            Stage::Writing(pieces) => {
                self.looks[2] += 1;
                // Asking once more begins the next token.
                while let Some(next) = pieces.next().now_or_never() {
                    let Some(piece) = next.transpose()? else {
                        self.stage = Stage::Done;
                        break;
                    };
                    self.text += &piece.text;
                    self.tokens += usize::from(piece.token.is_some());
                }
            }
            Stage::Done => {}
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    fn progress(&self) -> f32 {
        self.tokens as f32 / MOST as f32
    }
}

/// Counts frames, and keeps their pace.
#[derive(Default)]
struct Frames {
    count: usize,
    longest: Duration,
    /// The frame that was submitted last, and the one before it.
    submitted: [Option<wgpu::SubmissionIndex>; 2],
}

impl Frames {
    /// Two frames are on the device at the most, as with a window's surface.
    fn wait_for_the_one_before(&mut self, device: &wgpu::Device) -> Result<(), wgpu::PollError> {
        if let Some(frame) = self.submitted[1].take() {
            device.poll(wgpu::PollType::Wait { submission_index: Some(frame), timeout: None })?;
        }
        Ok(())
    }

    fn drawn(&mut self, frame: wgpu::SubmissionIndex) {
        self.count += 1;
        self.submitted = [Some(frame), self.submitted[0].take()];
    }

    /// Takes the frame's time, and waits for the next one's, as a screen would.
    fn ended(&mut self, began: Instant) {
        self.longest = self.longest.max(began.elapsed());
        std::thread::sleep(FRAME.saturating_sub(began.elapsed()));
    }
}

/// Width and height of a frame. Rows of this width are a multiple of 256 bytes, as copies want them.
const SIZE: [u32; 2] = [320, 192];

const SHADER: &str = "
struct Frame { seconds: f32, progress: f32 }
@group(0) @binding(0) var<uniform> frame: Frame;

@vertex
fn triangle(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    let angle = frame.seconds + f32(i) * 2.0944;
    return vec4f(0.4 * cos(angle), 0.2 + 0.6 * sin(angle), 0.0, 1.0);
}

@vertex
fn bar(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    let corner = vec2f(f32(i & 1u), f32(i >> 1u));
    return vec4f(-0.9 + 1.8 * frame.progress * corner.x, -0.9 + 0.1 * corner.y, 0.0, 1.0);
}

@fragment
fn bright() -> @location(0) vec4f {
    return vec4f(1.0, 0.8, 0.3, 1.0);
}
";

/// What the application draws, which has nothing to do with the model.
struct Scene {
    target: wgpu::Texture,
    frame: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
    triangle: wgpu::RenderPipeline,
    bar: wgpu::RenderPipeline,
    began: Instant,
}

impl Scene {
    fn new(device: &wgpu::Device) -> Self {
        let target = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("frame"),
            size: wgpu::Extent3d { width: SIZE[0], height: SIZE[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let frame = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("seconds, progress"),
            size: 8,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::VERTEX,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            }],
        });
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: frame.as_entire_binding() }],
        });
        let [triangle, bar] = ["triangle", "bar"].map(|entry| pipeline(device, &layout, entry));
        Self { target, frame, bind_group, triangle, bar, began: Instant::now() }
    }

    fn draw(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        now: Instant,
        progress: f32,
    ) -> wgpu::SubmissionIndex {
        let seconds = (now - self.began).as_secs_f32();
        queue.write_buffer(&self.frame, 0, bytemuck::cast_slice(&[seconds, progress]));
        let view = self.target.create_view(&Default::default());
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("frame"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                    store: wgpu::StoreOp::Store,
                },
            })],
            ..Default::default()
        });
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.set_pipeline(&self.triangle);
        pass.draw(0..3, 0..1);
        pass.set_pipeline(&self.bar);
        pass.draw(0..4, 0..1);
        drop(pass);
        queue.submit([encoder.finish()])
    }

    /// Pixels of the last frame that are not the background.
    fn bright_pixels(&self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<usize, Error> {
        let row = 4 * SIZE[0];
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("screenshot"),
            size: u64::from(row * SIZE[1]),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            self.target.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row),
                    rows_per_image: None,
                },
            },
            self.target.size(),
        );
        queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |_| {});
        device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(buffer.get_mapped_range(..)?.chunks(4).filter(|pixel| pixel[0] > 0).count())
    }
}

fn pipeline(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, entry: &str) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(entry),
        source: wgpu::ShaderSource::Wgsl(SHADER.into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some(entry),
        layout: Some(&layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some(entry),
            compilation_options: Default::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState {
            topology: wgpu::PrimitiveTopology::TriangleStrip,
            ..Default::default()
        },
        depth_stencil: None,
        multisample: Default::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("bright"),
            compilation_options: Default::default(),
            targets: &[Some(wgpu::TextureFormat::Rgba8Unorm.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}
