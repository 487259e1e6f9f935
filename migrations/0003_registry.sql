-- Which images have a blob as their configuration: asked before a blob is deleted.
create index images_config on images (config_digest);
